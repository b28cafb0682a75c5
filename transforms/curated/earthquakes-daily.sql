-- Earthquakes of each day (UTC), by how strong they were: for charts and a first look.
select
    cast(occurred as date) as day,
    case
        when magnitude is null then 'unknown'
        when magnitude < 2.5e0 then 'minor'
        when magnitude < 4.5e0 then 'light'
        when magnitude < 6e0 then 'moderate'
        else 'strong'
    end as magnitude_class,
    count(*) as earthquakes,
    max(magnitude) as magnitude_max,
    count_if(tsunami) as tsunami_warnings
from earthquakes
where kind = 'earthquake'
group by 1, 2
